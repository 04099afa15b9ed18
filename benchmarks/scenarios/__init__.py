"""What is measured, one file for each; `names.py` lists them."""
