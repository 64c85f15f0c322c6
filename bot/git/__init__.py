"""Git repositories, read with git itself."""
