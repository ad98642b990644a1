"""Where structures come from, one file each, imported as ``hermnet.datamodules``; found by name."""

if __name__ != "hermnet.datamodules":
    raise ImportError("this folder is a part of hermnet: import 'hermnet.datamodules' instead")
