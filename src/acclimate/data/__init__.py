"""Data nouns: interactions, features, datasets, tasks, splits, readers and named public sets."""

from acclimate.data.dataset import Dataset
from acclimate.data.doctor import Diagnosis, diagnose
from acclimate.data.features import FeatureTable, Field, Items, Kind, infer_field
from acclimate.data.interactions import Interactions
from acclimate.data.readers import Inspection, Problem, ReadReport, inspect, read
from acclimate.data.split import (
    Split,
    by_time,
    four_states,
    leave_last_out,
    new_items,
    new_users,
    new_users_and_items,
    user_tasks,
)
from acclimate.data.synthetic import World, synthetic_world
from acclimate.data.tasks import Feedback, TaskBatch, Tasks, TaskSampler, make_tasks, sample_tasks
from acclimate.data.vocabulary import Vocabulary

__all__ = [
    "Dataset",
    "Diagnosis",
    "FeatureTable",
    "Feedback",
    "Field",
    "Inspection",
    "Interactions",
    "Items",
    "Kind",
    "Problem",
    "ReadReport",
    "Split",
    "TaskBatch",
    "TaskSampler",
    "Tasks",
    "Vocabulary",
    "World",
    "by_time",
    "diagnose",
    "four_states",
    "infer_field",
    "inspect",
    "leave_last_out",
    "make_tasks",
    "new_items",
    "new_users",
    "new_users_and_items",
    "read",
    "sample_tasks",
    "synthetic_world",
    "user_tasks",
]
