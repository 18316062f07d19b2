"""What a Model artifact holds, and how it is asked, whatever made it."""
