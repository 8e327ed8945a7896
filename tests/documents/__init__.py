"""Pages of docs/ that are made from tables and from the tests themselves."""
