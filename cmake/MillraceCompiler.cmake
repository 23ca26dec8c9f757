# What every target of ours is compiled with. Asserts stay on in release builds (NDEBUG is never set).
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()
foreach(config RELEASE RELWITHDEBINFO MINSIZEREL)
  string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${config} "${CMAKE_C_FLAGS_${config}}")
endforeach()

option(MILLRACE_WERROR "Treat warnings as errors" OFF)
option(MILLRACE_FUZZ "Build the libFuzzer targets (clang)" OFF)
set(MILLRACE_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them: address,undefined or thread")
option(MILLRACE_COVERAGE "Instrument for gcov" OFF)

add_library(mr_compile INTERFACE)
target_compile_definitions(mr_compile INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64
  MILLRACE_VERSION="${PROJECT_VERSION}")
target_compile_options(mr_compile INTERFACE
  -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wformat=2 -Wpointer-arith -Wcast-align -Wundef -Wvla -Wswitch-enum)
# gcc cannot know that a result is written whenever a call returns 0, and at -O3 warns of each one;
# clang's -Wsometimes-uninitialized and the sanitizers look for the real ones.
if(CMAKE_C_COMPILER_ID STREQUAL GNU)
  target_compile_options(mr_compile INTERFACE -Wno-maybe-uninitialized)
endif()
if(MILLRACE_WERROR)
  target_compile_options(mr_compile INTERFACE -Werror)
endif()
if(MILLRACE_SANITIZE)
  target_compile_options(mr_compile INTERFACE -fsanitize=${MILLRACE_SANITIZE}
    -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(mr_compile INTERFACE -fsanitize=${MILLRACE_SANITIZE})
endif()
if(MILLRACE_FUZZ)
  target_compile_options(mr_compile INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(MILLRACE_COVERAGE)
  target_compile_options(mr_compile INTERFACE --coverage -O0 -fprofile-update=atomic)
  target_link_options(mr_compile INTERFACE --coverage -Wl,--wrap=_exit,--wrap=kill,-u,__wrap__exit)
  add_library(mr_coverage_end STATIC ${PROJECT_SOURCE_DIR}/tests/unit/coverage_end.c)
  target_compile_definitions(mr_coverage_end PRIVATE _GNU_SOURCE)
  target_link_libraries(mr_compile INTERFACE mr_coverage_end)
endif()
find_package(Threads REQUIRED)
target_link_libraries(mr_compile INTERFACE Threads::Threads m)
