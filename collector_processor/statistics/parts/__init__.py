"""The parts of a pane by topic: one file each, one line each in :data:`.PART_TYPES`."""
