# Under the coverage preset: what the tests reach, by gcovr. `cmake --build --preset coverage --target
# coverage_report` after `ctest --preset coverage` prints a table and leaves pages in
# build/coverage/report. Lines of an assert are left out: they are for bugs, and a test that took
# their other branch would be dead.
if(NOT MILLRACE_COVERAGE)
  return()
endif()
find_program(gcovr gcovr)
if(NOT gcovr)
  message(STATUS "gcovr is not installed: no target coverage_report")
  return()
endif()
# What a loss would go through: all that both ends share, what writes into the store or decides what
# is durable, and what the agent knows of what is.
set(coverage_durable
  "(.*/)?proto/.*"
  "(.*/)?ingest-server/(berth|carry|catalogue|commit|discard|dossier|eventlog|failed_place|finish).*"
  "(.*/)?ingest-server/(dirset|flotilla|skiff).*"
  "(.*/)?ingest-server/(idset|intake|landing|lane|lease|mend|movie|placement|recheck|recovery).*"
  "(.*/)?ingest-server/(reread|revisions|roster|salvage|seal|segments|slipway|stand|store|strip).*"
  "(.*/)?ingest-server/(takeover|unlogged|uring|write_pool).*"
  "(.*/)?agent/(consign|geometry_blob|journal|ledger|purge|transfer|window).*")
list(TRANSFORM coverage_durable PREPEND --filter=)

add_custom_target(coverage_report
  COMMAND ${CMAKE_COMMAND} -E make_directory report
  COMMAND ${gcovr} --root ${PROJECT_SOURCE_DIR} --object-directory .
    --filter ${PROJECT_SOURCE_DIR}/proto/ --filter ${PROJECT_SOURCE_DIR}/ingest-server/
    --filter ${PROJECT_SOURCE_DIR}/agent/ --exclude-lines-by-pattern ".*assert\\(.*"
    --exclude-unreachable-branches --json report/counted.json
  COMMAND ${gcovr} --root ${PROJECT_SOURCE_DIR} --add-tracefile report/counted.json
    --sort-uncovered --txt --print-summary --html-details report/index.html
    --json-summary report/summary.json
  COMMAND ${CMAKE_COMMAND} -E echo "proto and the durable paths:"
  COMMAND ${gcovr} --root ${PROJECT_SOURCE_DIR} --add-tracefile report/counted.json
    ${coverage_durable} --json-summary report/durable.json --print-summary
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
  COMMENT "Coverage: report/index.html"
  VERBATIM USES_TERMINAL)
