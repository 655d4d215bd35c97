"""A float network and a folder of photographs → the same network in int8, and what that costs."""
