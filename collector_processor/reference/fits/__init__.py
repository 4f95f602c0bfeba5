"""What is fitted on the reference rows besides counts: one file each, one line each in :data:`.FITTERS`."""
