"""Published values that measured ones are set beside: data files only, read by `byrote.claims.published`."""
