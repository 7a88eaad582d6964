"""Template and executors: the supervisor imports pool and handles, they run template_main and child."""
