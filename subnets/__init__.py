"""The sub-networks, one file each, imported as ``hermnet.subnets`` and found by name."""

if __name__ != "hermnet.subnets":
    raise ImportError("this folder is a part of hermnet: import 'hermnet.subnets' instead")
