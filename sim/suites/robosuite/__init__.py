"""robosuite's single-arm tasks behind the Robot and TaskSuite protocols, with scripted experts for three of them."""
