# One entry per fault test, in alphabetical order: mr_fault(<name> <script> <arguments>)
if(NOT MILLRACE_SANITIZE) # a sanitizer's shadow is memory too
  mr_fault(backlog check_backlog.py test_store_stands_still test_store_is_slow)
  mr_fault(backlog_away check_backlog.py test_server_is_away)
endif()
mr_fault(changed_sources check_changed_sources.py)
if(NOT MILLRACE_SANITIZE) # whose runtime must be loaded first
  add_library(shift_clock MODULE fault/shift_clock.c)
  target_link_libraries(shift_clock PRIVATE mr_compile)
  target_compile_options(shift_clock PRIVATE -fvisibility=default)
  set_target_properties(shift_clock PROPERTIES LIBRARY_OUTPUT_DIRECTORY
    ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
  mr_fault(clock_jumps check_clock_jumps.py)
endif()
mr_fault(codec_auto check_codec_auto.py)
mr_fault(commit_steps check_commit_steps.py)
mr_fault(data_path check_data_path.py)
mr_fault(fairness check_fairness.py)
mr_fault(flips check_flips.py)
mr_fault(freeing check_freeing.py test_kills)
mr_fault(freeing_names check_freeing.py test_its_name_comes_back_when_its_disk_does
  test_a_name_given_back_is_durable)
mr_fault(freeing_power check_freeing.py test_power_ext4 test_power_xfs)
mr_fault(io_errors check_io_errors.py)
mr_fault(kills check_kills.py)
mr_fault(limits check_limits.py)
mr_fault(links check_links.py test_cuts test_resets test_black_holes test_half_open)
mr_fault(links_damage check_links.py test_lanes_out_of_step test_flipped_bits test_flipped_openings)
if(NOT MILLRACE_SANITIZE) # a sanitizer's shadow is memory too
  mr_fault(memory check_memory.py)
endif()
mr_fault(mangled check_mangled.py test_mangled_payloads test_mangled_control)
mr_fault(mangled_wire check_mangled.py test_packets_vanish test_link_down test_refused
  test_sockets_killed test_packets_lost_and_refused)
if(NOT MILLRACE_SANITIZE) # a sanitized server starts too slowly for so many lives
  mr_fault(nth check_nth.py)
endif()
mr_fault(random_kills check_random_kills.py)
mr_fault(power_ext4 check_power.py test_the_plug_is_pulled test_what_was_discarded_stays_so
  test_ext4)
mr_fault(power_xfs check_power.py test_xfs)
mr_fault(read_back check_read_back.py)
add_executable(shelf_filler fault/shelf_filler.c)
target_link_libraries(shelf_filler PRIVATE mr_compile mr_ingest)
mr_fault(restart check_restart.py)
mr_fault(signals check_signals.py)
if(NOT MILLRACE_SANITIZE)
  mr_fault(soak check_soak.py)
endif()
mr_fault(small_files check_small_files.py)
mr_fault(stores check_stores.py)
mr_fault(takeover check_takeover.py test_second_is_refused_while_the_first_lives
  test_first_lets_go_and_the_second_goes_on test_killed_keep test_stopped_keep test_killed_mrc
  test_stopped_mrc test_killed_hdf5 test_stopped_hdf5)
mr_fault(takeover_commit check_takeover.py test_stopped_at_renamed_keep test_stopped_at_placed_mrc
  test_stopped_at_logged_hdf5 test_stopped_at_log_synced_keep test_stopped_at_catalogued_mrc
  test_stopped_at_journal_removed_hdf5)
mr_fault(takeover_in_turn check_takeover.py test_both_stop_in_turn test_push_knows_both)
mr_fault(takeover_landing check_takeover.py test_stopped_at_journal_made_keep
  test_stopped_at_part_made_mrc test_stopped_at_group_synced_hdf5
  test_stopped_at_group_journaled_keep test_stopped_at_group_durable_mrc)
mr_fault(takeover_sealing check_takeover.py test_stopped_at_part_complete_hdf5
  test_stopped_at_part_synced_keep test_stopped_at_before_sealed_mrc test_stopped_at_sealed_hdf5)
mr_fault(takeover_twice check_takeover.py test_lease_take test_takeover_begun
  test_takeover_journal test_takeover_part test_takeover_copied test_takeover_done)
