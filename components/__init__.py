"""The steps pipelines are made of. Importing this package loads KFP and nothing heavier."""
