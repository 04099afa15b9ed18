"""What every test here needs of Hypothesis; how much is tried is said in tests/conftest.py."""

from hypothesis import HealthCheck, settings

FUZZING = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
)
