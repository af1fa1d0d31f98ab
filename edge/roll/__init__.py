"""The roll record: an SQLite file that keeps every roll, defect, gap and event."""
