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
add_custom_target(coverage_report
  COMMAND ${CMAKE_COMMAND} -E make_directory report
  COMMAND ${gcovr} --root ${PROJECT_SOURCE_DIR} --object-directory . --sort-uncovered
    --filter proto/ --filter ingest-server/ --filter agent/
    --exclude-lines-by-pattern ".*assert\\(.*"
    --txt --print-summary --html-details report/index.html --json-summary report/summary.json
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
  COMMENT "Coverage: report/index.html"
  VERBATIM USES_TERMINAL)
