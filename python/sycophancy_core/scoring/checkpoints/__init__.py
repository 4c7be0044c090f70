"""Files of models as others write them: looked at, converted, and refused in a sentence."""
