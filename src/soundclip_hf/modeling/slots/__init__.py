"""Visual slots: what each one shows and hears, and how many tokens it takes in the language model."""
