"""What every window, detector and rule stands on: state by series, the base of an operator.

Pure: it imports nothing of what is built on it.
"""
