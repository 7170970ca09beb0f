"""How the tests of properties draw: as many examples on a busy machine as on an idle one."""

from hypothesis import HealthCheck, settings

settings.register_profile("repository", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repository")
