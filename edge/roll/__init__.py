"""Keep the roll record: an SQLite file with every roll, defect, gap and event."""
