from .model_runs import ModelRun as ModelRun
from .model_runs import StudyRuns as StudyRuns
from .model_runs import read_runs as read_runs
from .model_runs import table_rows as table_rows
