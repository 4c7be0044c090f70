"""What is trained on a frozen base: low-rank updates, in weight space or next to the layers."""
