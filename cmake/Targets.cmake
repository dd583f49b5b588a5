# Flags and the one function by which every folder under src/ becomes a library (and, with tests, a test program).
add_library(cacheready_warnings INTERFACE)
target_compile_options(cacheready_warnings INTERFACE -Wall -Wextra -Wconversion -Wshadow
                       $<$<BOOL:${CACHEREADY_WERROR}>:-Werror>)

# Same input, same bytes: no contraction that the source does not write, never fast-math.
add_library(cacheready_numerics INTERFACE)
target_compile_options(cacheready_numerics INTERFACE -ffp-contract=off -fno-fast-math)
target_include_directories(cacheready_numerics INTERFACE ${CMAKE_SOURCE_DIR}/src)

# For what is compiled more often than it is run: most of a build is compiling tests.
set(CACHEREADY_QUICK_TO_COMPILE $<IF:$<CONFIG:Sanitized>,-O0,-O1>)

function(cacheready_discover name filter labels)
  string(SHA1 list "${filter}")
  gtest_discover_tests(${name}_tests TEST_PREFIX ${name}. TEST_FILTER "${filter}" TEST_LIST ${name}_${list}
                       PROPERTIES LABELS "${labels}" TIMEOUT 600 DISCOVERY_TIMEOUT 60)
endfunction()

# cacheready_folder(NAME SOURCES a.cc ... [DEPENDS folder ...] [LIBRARIES target ...] [TESTS a_test.cc ...])
# makes the library cr_NAME; TESTS become the program NAME_tests, run by CTest under the label unit.
# Those that the GoogleTest filter GOLDEN_TESTS matches have the label golden in its place, those of HEAVY_TESTS the
# label heavy: both are run in plain builds only, as they take minutes under a sanitizer.
function(cacheready_folder name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS;LIBRARIES;TESTS;TEST_DEPENDS;GOLDEN_TESTS;HEAVY_TESTS" ${ARGN})
  add_library(cr_${name} STATIC ${arg_SOURCES})
  list(TRANSFORM arg_DEPENDS PREPEND cr_)
  list(TRANSFORM arg_TEST_DEPENDS PREPEND cr_)
  target_link_libraries(cr_${name} PUBLIC cacheready_numerics ${arg_DEPENDS} ${arg_LIBRARIES}
                        PRIVATE cacheready_warnings)
  if(name MATCHES "^(tensor|formats|compute)$")  # where nearly all the time goes
    target_compile_options(cr_${name} PRIVATE $<$<CONFIG:Sanitized>:-O2>)
  endif()
  if(name MATCHES "^(tensor|compute)$")  # what guides the fuzzers is in the others
    target_compile_options(cr_${name} PRIVATE
                           $<$<AND:$<CONFIG:Sanitized>,$<CXX_COMPILER_ID:Clang>>:-fno-sanitize=fuzzer-no-link>)
  endif()
  if(CACHEREADY_TESTS AND arg_TESTS)
    add_executable(${name}_tests ${arg_TESTS})
    target_link_libraries(${name}_tests PRIVATE cr_${name} ${arg_TEST_DEPENDS} cacheready_warnings
                          GTest::gtest_main GTest::gmock)
    target_compile_definitions(${name}_tests PRIVATE CACHEREADY_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    target_compile_options(${name}_tests PRIVATE ${CACHEREADY_QUICK_TO_COMPILE})
    list(JOIN arg_GOLDEN_TESTS : golden)
    list(JOIN arg_HEAVY_TESTS : heavy)
    cacheready_discover(${name} "*-${golden}:${heavy}" unit)
    if(golden)
      cacheready_discover(${name} "${golden}" golden)
    endif()
    if(heavy)
      cacheready_discover(${name} "${heavy}" heavy)
    endif()
  endif()
endfunction()
