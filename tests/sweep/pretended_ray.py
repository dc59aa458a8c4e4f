"""A simulated `ray` module for tests of the executor: tasks run in this process when they are waited for."""

from types import SimpleNamespace


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class WorkerCrashedError(RayError):
    pass


class Pretended:
    """The part of Ray Core that the executor uses; object references are numbers."""

    def __init__(self, resources=None, crash_of=()):
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.resources = {"CPU": 2.0} if resources is None else resources
        self.crash_of, self.options, self.init_options, self.calls = set(crash_of), None, None, []
        self.util = SimpleNamespace(get_node_ip_address=lambda: self.listens_at)
        self.listens_at = "127.0.0.1"
        self.waiting, self.results, self.most, self.open = {}, {}, 0, False

    def init(self, **options):
        self.init_options, self.open = options, True

    def shutdown(self):
        self.open = False

    def cluster_resources(self):
        return self.resources

    def remote(self, **options):
        self.options = options

        def decorate(function):
            def submit(task):
                reference = len(self.calls)
                self.calls.append(task)
                self.waiting[reference] = (function, task)
                self.most = max(self.most, len(self.waiting))
                return reference

            return SimpleNamespace(remote=submit)

        return decorate

    def wait(self, references, num_returns, timeout):
        reference = references[0]
        function, task = self.waiting.pop(reference)
        try:
            if self.crash_of & set(task["keys"]):
                raise WorkerCrashedError("the worker died")
            self.results[reference] = function(task)
        except RayError as error:
            self.results[reference] = error
        return [reference], references[1:]

    def get(self, reference):
        result = self.results.pop(reference)
        if isinstance(result, Exception):
            raise result
        return result
