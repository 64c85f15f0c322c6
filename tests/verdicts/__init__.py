"""The verdict table as data, and the golden outcomes that every change of the rules is held to."""
