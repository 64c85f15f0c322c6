"""Output of every builder, with what a person must see of it."""
