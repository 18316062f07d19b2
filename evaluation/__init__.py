"""How sure a measured number is: intervals, paired differences, and the record of a verdict."""
