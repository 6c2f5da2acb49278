"""The scripted operator: does every task of the play table, and plays."""
