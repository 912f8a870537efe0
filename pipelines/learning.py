"""The steps from preferences to a recorded run, with which every pipeline that trains by PPO ends."""

from components.base_inference import base_inference
from components.build_preferences import build_preferences
from components.eval_inference import eval_inference
from components.ppo_optimize import ppo_optimize
from components.promote import promote
from components.record_run import record_run
from components.train_reward_model import train_reward_model

LEARNING = (
    build_preferences,
    train_reward_model,
    ppo_optimize,
    base_inference,
    eval_inference,
    promote,
    record_run,
)
