"""The command line: what each verb does, and where its input and output lie."""
