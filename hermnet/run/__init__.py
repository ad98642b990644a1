"""The commands, their run folders, and what they leave behind."""
