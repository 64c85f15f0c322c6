"""Lines that were measured and quoted, but of which no recording was kept.

Read off the same Dokku 0.38.27 as the recordings (scenario y1: an app.json whose task exits 3).
Nothing else that the simulator prints may stand here; a test compares.
"""

TASK_FAILED = " !     Execution of {task} task failed: {command}\n"
"""`task` is predeploy or postdeploy, `command` what app.json says. Exit status 1."""
COMMAND = "/app/migrate"
