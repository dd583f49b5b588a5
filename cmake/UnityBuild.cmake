# Compiling files of a target together parses what they include once: a fifth of the time for tests and commands, which
# are mostly headers, and a third for the rest. That each file includes what it uses is seen with CACHEREADY_UNITY=OFF,
# as clang-tidy compiles them.
function(cacheready_unite folder)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    if(type STREQUAL STATIC_LIBRARY OR (type STREQUAL EXECUTABLE AND target MATCHES "^cacheready$|_tests$"))
      set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 10)
    endif()
  endforeach()
  get_property(below DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(subfolder ${below})
    cacheready_unite(${subfolder})
  endforeach()
endfunction()

cacheready_unite(${CMAKE_SOURCE_DIR})
