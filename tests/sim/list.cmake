# Both protocol cores in one thread, under a seeded scheduler: `bin/sim SEED` replays one schedule.
add_executable(sim
  sim/agentside.c
  sim/cable.c
  sim/reel.c
  sim/rogue.c
  sim/serverside.c
  sim/shelf.c
  sim/sim.c
  sim/simlane.c
  sim/simstore.c
  sim/timeline.c
  sim/world.c)
target_link_libraries(sim PRIVATE mr_compile mr_agent mr_ingest)

# As many schedules as there is time for, but no more than are enough; and all that ever failed.
add_test(NAME sim.sample COMMAND sim --schedules 2000 --from 1 --seconds 45)
add_test(NAME sim.seeds COMMAND sim --seeds ${CMAKE_CURRENT_SOURCE_DIR}/sim/seeds.txt)
set_tests_properties(sim.sample sim.seeds PROPERTIES LABELS sim TIMEOUT 300)
