"""Pretrained networks that replace the stem of HRNet (torch)."""
