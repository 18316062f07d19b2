"""Ready-made compositions of Penstock's components. Importing one loads KFP and nothing heavier."""
