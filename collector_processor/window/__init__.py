"""Event time: panes, watermark, windows."""
