# branchsae_library(<folder> SOURCES ... DEPENDS ... PRIVATE_DEPENDS ...)
# One static library a folder: target branchsae_<folder>, alias and exported name branchsae::<folder>.
function(branchsae_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(branchsae_${name} STATIC ${ARG_SOURCES})
  add_library(branchsae::${name} ALIAS branchsae_${name})
  set_target_properties(branchsae_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  target_include_directories(branchsae_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                                      $<INSTALL_INTERFACE:include/branchsae>)
  target_compile_features(branchsae_${name} PUBLIC cxx_std_20)
  target_link_libraries(branchsae_${name} PUBLIC ${ARG_DEPENDS} PRIVATE ${ARG_PRIVATE_DEPENDS})
  branchsae_warnings(branchsae_${name})
  install(TARGETS branchsae_${name} EXPORT branchsaeTargets)
endfunction()

function(branchsae_warnings target)
  target_compile_options(
    ${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                                              -Woverloaded-virtual>)
endfunction()

# Forces the linker to keep a backend's self-registration although nothing refers to it by name.
function(branchsae_keep_symbol target symbol)
  target_link_options(${target} INTERFACE "LINKER:--undefined=${symbol}")
endfunction()

# branchsae_test(<name> SOURCES ... DEPENDS ... LABELS ...): a doctest binary, one ctest entry.
function(branchsae_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} branchsae_test_main)
  branchsae_warnings(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 LABELS "${ARG_LABELS}")
endfunction()

# branchsae_script_test(<name> <file.py> LABELS ... ARGUMENTS ...): a Python unittest file, one ctest entry. Its cases are
# reported by tests/cases.py. Not there without Python.
function(branchsae_script_test name file)
  cmake_parse_arguments(ARG "" "" "LABELS;ARGUMENTS" ${ARGN})
  if(NOT Python3_Interpreter_FOUND)
    message(STATUS "Test ${name} left out: no Python 3")
    return()
  endif()
  add_test(NAME ${name} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${ARG_ARGUMENTS}
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 LABELS "${ARG_LABELS}" ENVIRONMENT
                                          "PYTHONPATH=${PROJECT_SOURCE_DIR}/tests;PYTHONDONTWRITEBYTECODE=1")
endfunction()
