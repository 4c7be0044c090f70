"""Ways to reduce sycophancy, each with its null and its price, behind one function."""
