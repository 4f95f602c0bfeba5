"""How spans of predictions leave the process: in requests of limited size, flushed wherever a process ends."""
