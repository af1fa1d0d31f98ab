"""Write data sets of simulated defects: on woven cloth, or planted in real images of clean cloth."""
