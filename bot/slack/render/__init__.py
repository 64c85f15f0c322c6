"""Pure: a view of a deployment in, Block Kit out."""
