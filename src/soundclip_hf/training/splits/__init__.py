"""How the rows of a data set are opened, and which of them are held out."""
