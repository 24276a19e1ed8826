"""The faults that a campaign must survive, as a table: `scripts/fault_matrix` prints it and runs its proofs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A row. `proofs`: tests, as file::name below tests/ (#: its case), that inject it and look at what is left."""

    name: str
    injected: str
    detected: str
    kept: str
    told: str
    proofs: tuple[str, ...]


CONTAMINATION = "measure/test_contamination.py::"
KILLS, DISK, CALLS, PROCESSES = (f"faults/test_{name}.py::" for name in ("kills", "disk", "nvml_calls", "processes"))
MIGRATION = "faults/test_migration.py::"
EACH = f"{CONTAMINATION}test_each_fault_rejects_its_window_for_its_reason_and_no_other"
ANY_CALL = f"{CALLS}test_an_nvml_error_at_any_call_never_makes_a_wrong_number"

FAULTS = (
    Fault(
        "runner killed (SIGKILL)",
        "at five kinds of instant in the tests, at random ones by --kills N",
        "a scratch folder without its runner",
        "every finished run; every finished window, in a failed record",
        "after the next start: N windows of an earlier start that could not end are kept",
        (
            f"{KILLS}test_a_runner_killed_at_any_instant_loses_nothing",
            f"{KILLS}test_random_kills_are_checked_by_what_the_runner_had_told",
            f"{PROCESSES}test_a_runner_that_is_killed_takes_every_process_with_it",
        ),
    ),
    Fault(
        "worker killed in load, warm-up, window, write",
        "SIGKILL in that phase; while the trace is half written",
        "its pipe ends without a record",
        "its windows and samples, in a failed record; the next run starts",
        "The worker was killed by SIGKILL. The system may have run out of memory ...",
        (
            f"{KILLS}test_a_worker_killed_in_any_phase_leaves_its_windows_and_no_record",
            "run/test_executors.py::test_a_worker_that_is_killed_between_two_windows_leaves_those_it_had_in_a_failed_record",
            "run/test_executors.py::test_a_worker_that_is_killed_is_recorded_with_the_signal_and_the_likely_reason",
        ),
    ),
    Fault(
        "power cut",
        "record, trace or manifest cut off or changed at any byte",
        "hash, schema, checksum of each manifest line",
        "all other runs; a torn line of the manifest or a journal is dropped, what is before it kept",
        "changed: The content is not the one that was kept at ...",
        (
            f"{DISK}test_a_run_is_on_the_disk_before_the_manifest_says_so_and_that_before_it_is_moved_into_place",
            f"{DISK}test_a_file_that_is_cut_off_or_changed_at_any_byte_is_named",
            "store/test_files.py::test_truncated_record_is_a_store_error_wherever_it_ends",
            "store/test_files.py::test_truncated_trace_is_a_store_error",
        ),
    ),
    Fault(
        "disk full at any write",
        "ENOSPC at the n-th write, for every n, half of it written",
        "the write's error",
        "every finished run; one that was whole in its scratch folder is not measured again",
        "Cannot write ...: No space left on device. Free some space ...",
        (
            f"{DISK}test_a_disk_that_is_full_at_any_write_costs_no_finished_run_and_leaves_no_half_one",
            f"{DISK}test_samples_make_room_for_the_record_and_else_for_every_window",
            "store/test_files.py::test_trace_on_a_full_disk_is_a_store_error",
            "cli/test_bad_input.py::test_a_full_disk_stops_with_a_sentence_and_keeps_what_is_stored",
        ),
    ),
    Fault(
        "read-only folder",
        "a results folder that cannot be written",
        "before anything runs",
        "everything",
        "Cannot write results under ... Make the folder writable, or choose another with --results.",
        ("cli/test_bad_input.py::test_results_that_cannot_be_written_are_named_before_anything_runs",),
    ),
    Fault(
        "record half written, corrupt Parquet, odd bytes",
        "any bytes in the place of the file",
        "it is no record, or no Parquet",
        "the file, left alone; all other runs",
        "... is not a whole JSON document. Move the folder away and run again.",
        (
            "store/test_files.py::test_arbitrary_bytes_are_a_store_error",
            "store/test_files.py::test_flipped_byte_gives_a_record_or_a_store_error",
            "cli/test_run_command.py::test_one_broken_record_does_not_hide_the_others",
        ),
    ),
    Fault(
        "a number changed by hand",
        "energy, work, times, uncertainty or identity of a record",
        "hash; invariants (energy = mean power x time, power between idle and limit, tokens, sums)",
        "the file, left alone",
        "energy: Mean power times time is ... J per generation; the summary says ...",
        (f"{DISK}test_a_number_changed_by_hand_breaks_an_invariant_even_without_a_manifest",),
    ),
    Fault(
        "a run that no runner left there",
        "a record changed and its line of the manifest removed; of another campaign; an emptied manifest",
        "it is not in the manifest; invariants; the campaign's name",
        "the run, left alone; a sound one is entered as adopted, and stays marked",
        "... is not in the manifest, and is not as a runner would have left it: ...",
        (
            f"{DISK}test_only_a_sound_run_of_this_campaign_is_adopted_and_stays_marked",
            f"{DISK}test_a_number_of_the_summary_alone_is_no_less_seen",
            "measure/test_consistency.py::test_a_figure_of_a_tenth_has_no_place_beside_others_and_says_why",
            "store/test_imports.py::test_a_file_that_is_not_as_it_was_imported_is_named",
        ),
    ),
    Fault(
        "a line of the manifest changed, removed or put in",
        "each",
        "the line, or the one after it, does not follow",
        "everything; the next start looks at the runs concerned, adopts them and goes on from there",
        "manifest-damaged: Line 3 was changed, or one before it removed. ...; then manifest-mended",
        (
            f"{DISK}test_a_line_that_was_removed_accuses_its_own_run_alone_and_the_next_start_goes_on_from_there",
            f"{DISK}test_a_line_of_anything_accuses_no_other_and_what_is_appended_after_it_follows",
        ),
    ),
    Fault(
        "NVML error at any call",
        "seven codes, eleven functions, at any call, once or for ever",
        "the call's answer; passing ones are asked again",
        "windows so far, in a failed record",
        "NVML's words, the board, and what to do",
        (ANY_CALL, "power/test_nvml_faults.py::test_an_error_that_passes_is_asked_again"),
    ),
    Fault(
        "GPU lost",
        "every question is answered with code 15 from then on",
        "at once",
        "windows so far, in a failed record; never 0 W",
        "GPU is lost: restart ...",
        (
            f"{CONTAMINATION}test_board_that_is_lost_ends_the_run_and_what_was_measured_is_kept",
            "power/test_nvml_faults.py::test_a_lost_gpu_is_told_at_once_and_never_becomes_zero_watts",
        ),
    ),
    Fault(
        "NVML timeout, sensor lost for a while",
        "code 10 for part of a window",
        "a stretch without samples; an edge without a counter",
        "the window, rejected or weakened; the others as they were",
        "samples-lost, source-failed",
        (
            f"{CONTAMINATION}test_lost_stretch_at_an_edge_rejects_that_window_only",
            f"{EACH}#samples lost",
        ),
    ),
    Fault(
        "driver that fails once",
        "a run that ends for want of a source, and not the next time",
        "the kind of failure",
        "both attempts; the record says which it is and why there was another",
        "Tried again.",
        ("run/test_runner.py::test_a_driver_that_fails_is_asked_again_and_the_record_says_so",),
    ),
    Fault(
        "not supported midway",
        "code 3 at any call",
        "the call's answer",
        "as NVML error at any call",
        "as there",
        (ANY_CALL,),
    ),
    Fault(
        "driver reload, counter reset",
        "the counter starts at zero inside a window",
        "it went backwards",
        "the window, rejected; the others as they were",
        "window-void: The energy counter went backwards ...",
        (
            f"{EACH}#counter is reset",
            f"{EACH}#counter falls",
        ),
    ),
    Fault(
        "counter stuck",
        "it does not move from an edge on",
        "no increment within 1 s",
        "the window by its samples, or rejected where the counter was asked for; never 0 J",
        "counter-stuck: ... Sampled power was integrated instead.",
        (
            f"{CONTAMINATION}test_counter_stuck_at_an_edge_is_replaced_by_samples_and_told",
            f"{CONTAMINATION}test_counter_stuck_for_ever_never_becomes_zero_joules",
        ),
    ),
    Fault(
        "counter jumps by 2^32 mJ, or a little",
        "4,294,967.296 J, 50 J, -50 J inside a window",
        "more than the board can draw; far off its siblings",
        "the window, rejected",
        "implausible-power, outlier",
        (
            f"{EACH}#counter jumps by its 32 bits",
            f"{EACH}#counter jumps a little ahead",
            f"{EACH}#counter jumps a little back",
        ),
    ),
    Fault(
        "power sensor stuck",
        "the reading is not renewed: from the start, from the rest or the work of a window, for a while or for good",
        "no change, bit for bit, from the rest before the work to its end, or from the work into a rest",
        "the window, rejected; by the counter, with a caveat, where that went on by itself",
        "sensor-stuck: ... showed 76.123 W ... without any change: it is stuck ...",
        (
            f"{CONTAMINATION}test_sensor_stuck_for_good_gives_no_figure_by_itself_nor_by_a_counter_that_adds_it_up",
            f"{CONTAMINATION}test_sensor_stuck_for_good_leaves_the_figure_of_a_counter_that_goes_on_by_itself",
            f"{EACH}#sensor stuck into the null window",
            f"{EACH}#sensor stuck at the load",
            "measure/test_stuck.py::test_constant_readings_that_answer_to_the_work_are_sound",
            "measure/test_steady.py::test_a_server_on_a_board_whose_reading_is_stuck_has_its_counter_or_no_figure",
        ),
    ),
    Fault(
        "wrong UUID after a reboot",
        "sources.gpus names a board that is not there",
        "before anything runs",
        "everything",
        "There is no GPU ..., and which there are",
        ("power/test_nvml.py::test_selection_that_cannot_be_is_refused",),
    ),
    Fault(
        "sampler killed",
        "SIGKILL of the helper",
        "it gave no count of what it missed",
        "its samples; windows by the counter",
        "sampler-died: The power sampler ended early; its trace is incomplete.",
        ("power/test_sampler.py::test_killed_helper_leaves_its_trace_and_no_word_of_what_it_missed",),
    ),
    Fault(
        "sampler stalled",
        "SIGSTOP of the helper",
        "no answer in time; it is ended",
        "its samples; windows by the counter",
        "sampler-died",
        (f"{PROCESSES}test_a_sampler_that_is_stalled_is_ended_and_the_trace_called_incomplete",),
    ),
    Fault(
        "clock stepped by hours",
        "the wall clock jumps inside a window",
        "not at all: windows are stamped by the monotonic clock",
        "everything, to the last bit",
        "nothing",
        (f"{CONTAMINATION}test_step_of_the_wall_clock_changes_no_window",),
    ),
    Fault(
        "time zone and locale changed",
        "TZ and LC_ALL of another place",
        "not at all: records are in UTC",
        "everything",
        "nothing",
        (f"{DISK}test_what_another_zone_or_clock_says_changes_no_record",),
    ),
    Fault(
        "foreign process on the GPU",
        "listed or hidden, before, in or after a window",
        "NVML's list; use and power at rest; siblings",
        "the window, rejected",
        "shared-gpu, guard-utilisation, guard-power, outlier",
        (
            f"{EACH}#process of others",
            f"{EACH}#hidden load in the guards",
            f"{EACH}#hidden load too small",
            f"{EACH}#process that comes and goes",
        ),
    ),
    Fault(
        "throttling",
        "by heat or hardware; a clock that steps",
        "throttle reasons; clocks",
        "the window, rejected",
        "throttled: ... was slowed down (throttle reasons 0x20)",
        (
            f"{EACH}#throttle reason alone",
            f"{EACH}#thermal reason alone",
            f"{EACH}#throttle that lowers the clock",
            f"{CONTAMINATION}test_clock_that_steps_within_a_window_rejects_it",
        ),
    ),
    Fault(
        "out of memory in the worker",
        "a batch that does not fit",
        "the engine's error",
        "the failure; half the batch as a run of its own where the config allows it",
        "A batch of 5000 needs about 312 GiB; ... Lower batch_size.",
        (
            "cli/test_run_command.py::test_a_failing_run_is_stored_the_next_one_runs_and_a_retry_keeps_the_first_attempt",
            "run/test_runner.py::test_half_of_a_batch_that_does_not_fit_is_measured_once_where_the_config_allows_it",
        ),
    ),
    Fault(
        "hung engine",
        "a run that does not end",
        "timeout_s",
        "its windows; its whole process group is ended",
        "The run was stopped after timeout_s = 6 s.",
        (
            "run/test_executors.py::test_a_run_that_hangs_is_stopped_with_all_it_started_and_recorded_as_timeout",
            "run/test_executors.py::test_a_server_that_is_stopped_does_not_hold_up_a_stop",
        ),
    ),
    Fault(
        "two runners on one campaign",
        "the lock is held",
        "before anything runs",
        "everything",
        "Another harness (process N) is running ...",
        ("cli/test_bad_input.py::test_two_runners_do_not_share_a_campaign",),
    ),
    Fault(
        "results of another schema",
        "a record, an import or a journal with another schema_version",
        "before anything runs",
        "the record, left alone; a finished window in a killed runner's journal too",
        "... has schema version 1: this harness reads version 2. ... harness migrate FOLDER",
        (
            "cli/test_bad_input.py::test_a_record_of_a_newer_schema_stops_the_campaign_and_stays_as_it_is",
            "cli/test_migrate_command.py::test_every_command_refuses_an_old_campaign_by_number_and_says_what_to_do",
            f"{MIGRATION}test_windows_that_an_older_runner_left_are_kept_by_a_start_after_the_migration_not_before",
        ),
    ),
    Fault(
        "migration killed, or the disk full",
        "SIGKILL at every step that changes a file, half a write included; ENOSPC at the n-th write, for every n",
        "the manifest knows the hash of the old record and of the new one",
        "the old file, in place or as its copy; the next harness migrate ends it",
        "Cannot write ...: No space left on device. Free some space ...",
        (
            f"{MIGRATION}test_a_migration_killed_at_any_step_loses_nothing_and_is_ended_by_the_next",
            f"{MIGRATION}test_a_disk_that_is_full_at_any_write_leaves_old_or_new_and_is_told",
            f"{MIGRATION}test_a_folder_that_may_only_be_read_is_told_and_stays",
        ),
    ),
    Fault(
        "a record changed before its migration",
        "a byte more, a value changed, the end cut off",
        "hash",
        "the record, left alone, and still named by harness validate",
        "... is not the one that was kept at ...: it was changed or cut off.",
        ("store/test_migrate.py::test_a_record_that_is_not_the_one_that_was_kept_is_refused_and_still_named",),
    ),
)


def markdown() -> str:
    """The table."""
    lines = ["| fault | how it is injected | what is detected | what is kept | what the user reads | tests |"]
    lines.append("|---|---|---|---|---|---|")
    for fault in FAULTS:
        cells = (fault.name, fault.injected, fault.detected, fault.kept, fault.told, str(len(fault.proofs)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
