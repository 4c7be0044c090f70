"""What comes in from outside: the kinds of arguments, and the columns of tables."""
