// Signals, for the whole process.
#pragma once

namespace stflow {

/// At the start of main(): a closed pipe and a file-size limit become write errors (EPIPE, EFBIG) instead of deaths.
void ignore_write_signals();

/// From now on SIGINT, SIGTERM and SIGUSR1 only make stop_requested() true; a second one ends the process at once.
/// For commands that look at stop_requested() at least once a step; the others keep the default, to end.
void catch_stop_signals();
bool stop_requested();
/// Under a launcher: it hands on a signal that a scheduler sent to every process of the job, so that one request comes twice. A second
/// signal within two seconds of the first is taken for the same.
void expect_stop_twice();
/// Thrown by check_stop(): what is running ends, and what it had finished stays.
struct Stopped {};
/// Between two small units of work: throws Stopped once a signal has come.
void check_stop();
/// Tests and callers of several runs in one process: forget an earlier request.
void clear_stop_request();

}  // namespace stflow
