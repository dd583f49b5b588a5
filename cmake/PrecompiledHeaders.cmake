# With CACHEREADY_PCH, what most files include is parsed once for the program and once for the tests: a third less to
# compile. Off in the presets that check that each file includes what it uses.
set(headers <algorithm> <cmath> <cstdint> <filesystem> <map> <memory> <optional> <set> <span> <string> <vector>
    <fmt/format.h> <fmt/ranges.h> <nlohmann/json.hpp>)
file(WRITE ${CMAKE_BINARY_DIR}/precompiled.cc "")

add_library(cacheready_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
target_link_libraries(cacheready_precompiled PRIVATE cacheready_numerics cacheready_warnings fmt::fmt
                      nlohmann_json::nlohmann_json)
target_precompile_headers(cacheready_precompiled PRIVATE ${headers})

add_library(cacheready_precompiled_for_tests OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
target_link_libraries(cacheready_precompiled_for_tests PRIVATE cacheready_numerics cacheready_warnings fmt::fmt
                      nlohmann_json::nlohmann_json GTest::gmock)
set_target_properties(cacheready_precompiled_for_tests PROPERTIES POSITION_INDEPENDENT_CODE OFF)
target_compile_options(cacheready_precompiled_for_tests PRIVATE ${CACHEREADY_QUICK_TO_COMPILE} -fPIE)  # as programs
target_precompile_headers(cacheready_precompiled_for_tests PRIVATE ${headers} <gtest/gtest.h> <gmock/gmock.h>)

# Every target of a folder and of those below it that is compiled.
function(cacheready_precompile folder)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    if(type STREQUAL EXECUTABLE AND target MATCHES "_tests$")
      target_precompile_headers(${target} REUSE_FROM cacheready_precompiled_for_tests)
    elseif(type STREQUAL STATIC_LIBRARY AND folder MATCHES "/src/" AND NOT folder MATCHES "/(tensor|compute)$")
      target_precompile_headers(${target} REUSE_FROM cacheready_precompiled)
    endif()
  endforeach()
  get_property(below DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(subfolder ${below})
    cacheready_precompile(${subfolder})
  endforeach()
endfunction()

cacheready_precompile(${CMAKE_SOURCE_DIR})
