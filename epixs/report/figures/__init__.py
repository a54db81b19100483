"""Pictures for pages and papers, drawn with matplotlib (the `viz` extra): each module one kind of figure."""
