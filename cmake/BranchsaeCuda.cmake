# Finds nvcc and cuDNN, decides whether the CUDA backend is built, and says so in one line.
# Sets BRANCHSAE_HAS_CUDA and BRANCHSAE_CUDA_SUMMARY. The language is enabled here, in the top folder, because every
# program that links the backend needs it.
set(BRANCHSAE_CUDA_ARCHITECTURES "80;90a-real" CACHE STRING "Compute capabilities the kernels are compiled for")
option(BRANCHSAE_CUDA_FAT "Compile the kernels for every architecture they are meant for; overrides the list" OFF)
set(BRANCHSAE_CUDA_MINIMUM 12.0) # the first whose nvcc speaks C++20
set(BRANCHSAE_CUDNN_MINIMUM 9.8) # the first that plans for described devices

# Sets `missing` to what stands in the way of a CUDA build; empty when nothing does.
function(branchsae_find_cuda missing)
  find_program(BRANCHSAE_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda
               PATH_SUFFIXES bin)
  mark_as_advanced(BRANCHSAE_NVCC)
  if(NOT BRANCHSAE_NVCC)
    set(${missing} "nvcc (the CUDA toolkit)" PARENT_SCOPE)
    return()
  endif()
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${BRANCHSAE_NVCC})
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(${missing} "an nvcc that works with ${CMAKE_CXX_COMPILER} (${BRANCHSAE_NVCC} does not)" PARENT_SCOPE)
    return()
  endif()
  find_package(CUDAToolkit QUIET)
  if(NOT CUDAToolkit_FOUND OR CUDAToolkit_VERSION VERSION_LESS BRANCHSAE_CUDA_MINIMUM)
    set(${missing} "CUDA ${BRANCHSAE_CUDA_MINIMUM} or newer (found ${CUDAToolkit_VERSION})" PARENT_SCOPE)
    return()
  endif()
  find_path(BRANCHSAE_CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV CUDNN_PATH
            PATH_SUFFIXES include)
  find_library(BRANCHSAE_CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR} ENV CUDNN_PATH
               PATH_SUFFIXES lib lib64)
  mark_as_advanced(BRANCHSAE_CUDNN_INCLUDE BRANCHSAE_CUDNN_LIBRARY)
  if(NOT BRANCHSAE_CUDNN_INCLUDE OR NOT BRANCHSAE_CUDNN_LIBRARY)
    set(${missing} "cuDNN" PARENT_SCOPE)
    return()
  endif()
  branchsae_cudnn_version(found)
  if(found VERSION_LESS BRANCHSAE_CUDNN_MINIMUM)
    set(${missing} "cuDNN ${BRANCHSAE_CUDNN_MINIMUM} or newer (found ${found})" PARENT_SCOPE)
    return()
  endif()
  set(CMAKE_CUDA_COMPILER ${CMAKE_CUDA_COMPILER} PARENT_SCOPE)
  set(${missing} "" PARENT_SCOPE)
endfunction()

# What a released program carries: machine code for sm_80 to sm_100, and PTX of the newest that later ones translate.
function(branchsae_fat_architectures out)
  if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.8)
    set(${out} "80-real;86-real;89-real;90a-real;100" PARENT_SCOPE)
  else()
    message(STATUS "CUDA ${CUDAToolkit_VERSION} does not know sm_100; the fat binary ends at sm_90a")
    set(${out} "80-real;86-real;89-real;90a-real;90-virtual" PARENT_SCOPE)
  endif()
endfunction()

function(branchsae_cudnn_version out)
  set(version "0 (unknown)")
  set(header ${BRANCHSAE_CUDNN_INCLUDE}/cudnn_version.h)
  if(EXISTS ${header})
    file(READ ${header} text)
    if(text MATCHES "CUDNN_MAJOR ([0-9]+).*CUDNN_MINOR ([0-9]+).*CUDNN_PATCHLEVEL ([0-9]+)")
      set(version "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
    endif()
  endif()
  set(${out} ${version} PARENT_SCOPE)
endfunction()

# How a target's device code is compiled.
function(branchsae_cuda_options target)
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_RUNTIME_LIBRARY Static
                                             CUDA_ARCHITECTURES "${BRANCHSAE_CUDA_ARCHITECTURES}")
  # 554: nvcc's front end warns of View's conversion to const although its requires clause rules that case out.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra --diag-suppress=554>)
  # Kernels write fma() where they want one, so that their bits do not depend on the compiler.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false>)
endfunction()

set(BRANCHSAE_HAS_CUDA OFF)
if(NOT BRANCHSAE_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "BRANCHSAE_CUDA is '${BRANCHSAE_CUDA}'; it must be AUTO, ON or OFF")
elseif(BRANCHSAE_CUDA STREQUAL "OFF")
  set(BRANCHSAE_CUDA_SUMMARY "not built (BRANCHSAE_CUDA=OFF)")
else()
  branchsae_find_cuda(BRANCHSAE_CUDA_MISSING)
  if(NOT BRANCHSAE_CUDA_MISSING)
    # An architecture CMake would choose is overridden on the target; this keeps it from asking a GPU.
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80)
    endif()
    enable_language(CUDA)
    # Early CMake 3.2x do not know that nvcc speaks C++20 since 12.0.
    if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit QUIET REQUIRED)
    branchsae_cudnn_version(BRANCHSAE_CUDNN_VERSION)
    if(BRANCHSAE_CUDA_FAT)
      branchsae_fat_architectures(BRANCHSAE_CUDA_ARCHITECTURES)
    endif()
    set(BRANCHSAE_HAS_CUDA ON)
    set(BRANCHSAE_CUDA_SUMMARY "CUDA ${CUDAToolkit_VERSION} for ${BRANCHSAE_CUDA_ARCHITECTURES}, cuDNN \
${BRANCHSAE_CUDNN_VERSION}")
  elseif(BRANCHSAE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BRANCHSAE_CUDA=ON, but missing: ${BRANCHSAE_CUDA_MISSING}; install it or configure with \
-DBRANCHSAE_CUDA=OFF")
  else()
    set(BRANCHSAE_CUDA_SUMMARY "not built, CPU only; missing: ${BRANCHSAE_CUDA_MISSING}")
  endif()
endif()
message(STATUS "CUDA backend: ${BRANCHSAE_CUDA_SUMMARY}")
