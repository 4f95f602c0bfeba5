"""What all settings have in common: their base class, and the grammar of their values."""
