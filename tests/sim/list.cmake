# Both ends in one thread, under a seeded scheduler: `bin/sim SEED` replays one schedule. The code of
# the rooms is compiled anew, with slabs small enough to be simulated by the million; what it calls
# of threads, files, memory and clocks leads to tests/sim.
set(sim_wrapped
  aligned_alloc calloc close closedir eventfd eventfd_read eventfd_write fallocate64 fchmod fchown
  fcntl64 fdatasync fdopendir fgetxattr flock free fstat64 fstatat64 fstatfs64 fstatvfs64 fsync
  ftruncate64 futimens getrandom linkat lseek64 madvise malloc mkdirat mmap64 munmap open64 openat64 poll
  posix_fadvise64 pread64 pthread_cond_broadcast pthread_cond_signal pthread_cond_timedwait
  pthread_cond_wait pthread_create pthread_join pthread_mutex_lock pthread_mutex_trylock
  pthread_mutex_unlock pthread_setname_np pthread_sigmask pwrite64 read readdir64 realloc renameat
  renameat2 statx strdup syncfs syscall unlinkat write
  mr_clock_boottime_ns mr_clock_monotonic_ns mr_clock_real_ns mr_codec_free mr_codec_new mr_counters_register
  mr_counters_unregister mr_failpoint mr_intake_free mr_intake_new
  mr_intake_tick mr_json_dump mr_landing_new mr_lease_is_gone
  mr_lease_self mr_log mr_log_seldom mr_publish_new mr_queue_new mr_tally_begin mr_tally_end
  mr_tally_sheet_close mr_tally_sheet_open)
# what needs libzmq, libhdf5 or libmicrohttpd is made differently here, or not at all
set(sim_left_out "(link|link_[a-z]+|h5out|placed_driver|seal_hdf5|http|http_page|probe|probe_[a-z]+)\\.c$")

set(sim_code)
foreach(room mr_base mr_wire mr_ingest)
  get_target_property(sim_files ${room} SOURCES)
  get_target_property(sim_folder ${room} SOURCE_DIR)
  list(FILTER sim_files EXCLUDE REGEX ${sim_left_out})
  list(TRANSFORM sim_files PREPEND ${sim_folder}/)
  list(APPEND sim_code ${sim_files})
endforeach()
foreach(file pack transfer transfer_hear transfer_list transfer_say transfer_slab window)
  list(APPEND sim_code ${PROJECT_SOURCE_DIR}/agent/${file}.c)
endforeach()

if(NOT MILLRACE_SANITIZE MATCHES thread) # there is only one
  add_executable(sim ${sim_code}
    sim/agentside.c
    sim/cable.c
    sim/disk.c
    sim/disk_calls.c
    sim/disk_calls_io.c
    sim/disk_file.c
    sim/fibre.c
    sim/fibre_pthread.c
    sim/jobs.c
    sim/memory.c
    sim/oracle.c
    sim/oracle_durable.c
    sim/reel.c
    sim/rogue.c
    sim/server_parts.c
    sim/serverside.c
    sim/sim.c
    sim/simlink.c
    sim/tale.c
    sim/timeline.c
    sim/world.c)
  # the world's own memory is nobody's
  set_property(SOURCE sim/agentside.c sim/cable.c sim/disk.c sim/disk_file.c sim/jobs.c sim/oracle.c
    sim/oracle_durable.c sim/reel.c sim/rogue.c sim/serverside.c sim/tale.c sim/timeline.c sim/world.c
    APPEND PROPERTY COMPILE_DEFINITIONS
    malloc=__real_malloc calloc=__real_calloc realloc=__real_realloc free=__real_free)
  target_compile_definitions(sim PRIVATE MR_SLAB_BYTES=8192u
    MR_URING_VERSION="${mr_dep_uring_VERSION}")
  target_include_directories(sim PRIVATE ${PROJECT_SOURCE_DIR}/proto ${PROJECT_SOURCE_DIR}/agent
    ${PROJECT_SOURCE_DIR}/ingest-server)
  list(TRANSFORM sim_wrapped PREPEND -Wl,--wrap= OUTPUT_VARIABLE sim_wrap)
  target_link_options(sim PRIVATE ${sim_wrap})
  target_link_libraries(sim PRIVATE mr_compile PkgConfig::mr_dep_isal PkgConfig::mr_dep_jansson
    PkgConfig::mr_dep_yaml PkgConfig::mr_dep_lz4 PkgConfig::mr_dep_zstd mr_dep_uring)

  # As many schedules as there is time for, but no more than are enough; and all that ever failed.
  # A release build on two cores has time for all of them.
  add_test(NAME sim.sample COMMAND sim --schedules 10000 --from 1 --seconds 110 --jobs 2)
  add_test(NAME sim.seeds COMMAND sim --seeds ${CMAKE_CURRENT_SOURCE_DIR}/sim/seeds.txt)
  add_test(NAME sim.mutations COMMAND /usr/bin/python3 -B
    ${CMAKE_CURRENT_SOURCE_DIR}/sim/mutate.py --fit ${PROJECT_SOURCE_DIR})
  set_tests_properties(sim.sample sim.seeds sim.mutations PROPERTIES LABELS sim TIMEOUT 300)
endif()
